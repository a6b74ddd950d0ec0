#!lua flags=allow-oom
-- The sign of life of a node, and how its head compares with the log.
--
-- KEYS: nodes meta log evictor
-- ARGV: node, its word on itself, its epoch, its head, ms for which nothing is to be evicted ("0": as it is),
--       whether this is a sign of life ("1") or a look only,
--       up to when, in ms by our clock, all renewals that it heard have been told
-- Returns {now, schema, epoch, head, how the log goes on from the node's head: yes, no, or cut when that is
--          too old to be in it, evictor, nodes and their words, an entry of the log that nothing of ours can follow}
local nodes, meta, log, evictor = unpack(KEYS)
local node, time = ARGV[1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local schema, epoch, head = unpack(redis.call('HMGET', meta, 'schema', 'epoch', 'head'))

if ARGV[6] == '1' then redis.call('HSET', nodes, node, string.format('%.0f', now) .. ' ' .. ARGV[7] .. ' ' .. ARGV[2]) end
if tonumber(ARGV[5]) > 0 and epoch then
  redis.call('HSET', meta, 'hold_until', string.format('%.0f', now + ARGV[5]))
end

local beyond = head and redis.call('XREVRANGE', log, '+', '(' .. string.match(head, '^%d+') .. '-0', 'COUNT', 1)[1]
local goes_on = 'no'
if head and head == ARGV[4] then
  goes_on = 'yes'
elseif head then
  local revision, token = string.match(ARGV[4], '^(%d+) (.*)$')
  if revision and tonumber(revision) < tonumber(string.match(head, '^%d+')) then
    local found = redis.call('XRANGE', log, revision .. '-0', revision .. '-0')[1]
    local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
    if found then
      if found[2][4] == token then goes_on = 'yes' end
    elseif oldest and tonumber(string.match(oldest[1], '^%d+')) > tonumber(revision) then
      goes_on = 'cut'
      if oldest[2][2] == ARGV[4] then goes_on = 'yes' end
    end
  end
end
return {now, schema or '', epoch or '', head or '', goes_on, redis.call('GET', evictor) or '', redis.call('HGETALL', nodes),
        beyond and beyond[1] or ''}
