#!lua
-- Begin a history where there is none.
--
-- KEYS: meta log
-- ARGV: schema, epoch, least revision; returns 1 when it was begun now
local meta, log = unpack(KEYS)
if redis.call('EXISTS', meta) == 1 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Numbers follow the clock: readers that remember one from before must never meet it again.
local revision = string.format('%.0f', math.max(now, tonumber(ARGV[3])))
redis.call('DEL', log)
redis.call('HSET', meta, 'schema', ARGV[1], 'epoch', ARGV[2], 'head', revision .. ' start')
return 1
