#!lua flags=allow-oom
-- The leases past their deadline, for the one node whose turn it is. One is told only when each node that ever heard it
-- renewed has told us all that it heard up to the deadline. Who is silent for too long is given up.
--
-- KEYS: evictor leases heard nodes meta done
-- ARGV: node, ms of a turn, ms after which a silent node is given up, ms until a kept lease is looked at again,
--       most leases to tell, ms of a term for a lease that is lost
local evictor, leases, heard, nodes, meta, done = unpack(KEYS)
local node, time = ARGV[1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local leader = redis.call('GET', evictor)
if leader and leader ~= node then return {} end
redis.call('SET', evictor, node, 'PX', ARGV[2])
if redis.call('ZCARD', leases) < redis.call('HLEN', heard) then
  -- Somebody has removed leases. Who is listed without one would be so for ever: each begins a term.
  for _, key in ipairs(redis.call('HKEYS', heard)) do redis.call('ZADD', leases, 'NX', now + ARGV[6], key) end
end
if tonumber(redis.call('HGET', meta, 'hold_until') or 0) > now then return {} end

local told, all = {}, redis.call('HGETALL', nodes)
for i = 1, #all, 2 do
  local at, told_at = string.match(all[i + 1], '^(%d+) (%d+)')
  if tonumber(at) < now - ARGV[3] then
    redis.call('HDEL', nodes, all[i])
    redis.call('HDEL', done, all[i])
  else
    told[all[i]] = tonumber(told_at)
  end
end

local ending = {}
for _, key in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, ARGV[5])) do
  local least = math.huge
  for id in string.gmatch(redis.call('HGET', heard, key) or '', '%S+') do least = math.min(least, told[id] or least) end
  if least >= tonumber(redis.call('ZSCORE', leases, key)) then ending[#ending + 1] = key
  elseif now - least > 3000 then redis.call('ZADD', leases, 'XX', now + ARGV[4], key) end
end
return ending
