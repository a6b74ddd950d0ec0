#!lua
-- Begin a new epoch, because records were put back: every other node compares all that it holds. Until they have told what
-- renewals they heard, nothing is evicted: who put a record back has not heard those of other nodes' clients.
--
-- KEYS: meta log
-- ARGV: node, old epoch, new epoch, least revision, length of the log, ms for which nothing is to be evicted;
--       returns the new head, "" when the epoch is another
local meta, log = unpack(KEYS)
local epoch, head = unpack(redis.call('HMGET', meta, 'epoch', 'head'))
if epoch ~= ARGV[2] then return '' end
local beyond = redis.call('XREVRANGE', log, '+', '(' .. string.match(head, '^%d+') .. '-0', 'COUNT', 1)[1]
if beyond then return redis.error_reply('FOREIGN ' .. log .. ' holds an entry ' .. beyond[1] .. ', which is none of ours') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local revision = string.format('%.0f', math.max(tonumber(string.match(head, '^%d+')) + 1, tonumber(ARGV[4]), now))
local token = ARGV[1] .. ' turn ' .. ARGV[3]
redis.call('XADD', log, 'MAXLEN', '~', ARGV[5], revision .. '-0', 'prev', head, 'by', token, 'at', string.format('%.0f', now))
head = revision .. ' ' .. token
redis.call('HSET', meta, 'epoch', ARGV[3], 'head', head, 'hold_until', string.format('%.0f', now + ARGV[6]))
return head
