#!lua flags=allow-oom
-- Prolong leases by what remains of each term. No lease gets shorter: an older word may come later. Of each lease it is
-- kept which nodes have heard renewals of it, the latest fifteen.
--
-- KEYS: records leases heard
-- ARGV: node, then all leases in one: ms that remain (8 bytes), length of the key (4), key; returns the keys that are
--       not held
local records, leases, heard = unpack(KEYS)
local node, time, unknown, prolonged = ARGV[1], redis.call('TIME'), {}, {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Whatever has a lease somebody has heard, and has a record: if there are fewer of these, somebody has removed some.
local is_whole = redis.call('HLEN', records) >= redis.call('HLEN', heard)
local at = 1
while at <= #ARGV[2] do
  local remaining, key
  remaining, key, at = struct.unpack('>I8I4c0', ARGV[2], at)
  local nodes = redis.call('HGET', heard, key)
  if (nodes and is_whole) or redis.call('HEXISTS', records, key) == 1 then
    prolonged[#prolonged + 1] = now + remaining
    prolonged[#prolonged + 1] = key
    if not nodes or not string.find(nodes, node, 1, true) then
      redis.call('HSET', heard, key, string.sub((nodes or '') .. ' ' .. node, -200))
    end
  else
    unknown[#unknown + 1] = key
  end
end
if #prolonged > 0 then redis.call('ZADD', leases, 'GT', unpack(prolonged)) end
return unknown
