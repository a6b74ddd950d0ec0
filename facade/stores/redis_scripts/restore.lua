#!lua
-- Put back what was acknowledged and is lost here, with the versions that it had. Nothing of it enters the log: `turn`
-- comes after it, and every other node reads all.
--
-- KEYS: meta records leases heard
-- ARGV: node, epoch, then for each record: key, version that was seen here, lease in ms or "", version it had and body
--       as they are kept; returns how many were put back, or -1 when the epoch is another
-- Five commands for all records, for one that is called from here costs as much as its work on one record does.
local meta, records, leases, heard = unpack(KEYS)
local node, time, restored = ARGV[1], redis.call('TIME'), 0
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', meta, 'epoch') ~= ARGV[2] then return -1 end

local keys = {}
for i = 3, #ARGV, 4 do keys[#keys + 1] = ARGV[i] end
if #keys == 0 then return 0 end
local held, known = redis.call('HMGET', records, unpack(keys)), redis.call('HMGET', heard, unpack(keys))
local values, terms, hearers = {}, {}, {}
for number, key in ipairs(keys) do
  local i = 4 * number - 1
  local seen, lease, value = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if (held[number] and string.match(held[number], '^%d+') or '0') == seen then
    restored = restored + 1
    values[#values + 1] = key
    values[#values + 1] = value
    if lease ~= '' then
      terms[#terms + 1] = now + lease
      terms[#terms + 1] = key
      if not known[number] then
        hearers[#hearers + 1] = key
        hearers[#hearers + 1] = node
      end
    end
  end
end
if #values > 0 then redis.call('HSET', records, unpack(values)) end
if #terms > 0 then redis.call('ZADD', leases, 'GT', unpack(terms)) end
if #hearers > 0 then redis.call('HSET', heard, unpack(hearers)) end
return restored
