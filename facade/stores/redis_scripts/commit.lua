#!lua
-- Write calls of one node, each all or nothing: check the versions, write, number, and enter into the log.
--
-- KEYS: meta records leases log heard done evictor
-- ARGV: node, batch, epoch, least revision, length of the log;
--       then for each call its number of steps, and for each step: key, kind, version decided on, lease in ms or "", body
-- kind: P put or R remove, a letter for the cause, 1 when a peer told it. A call without steps only takes a revision.
--       Of an end that the store had lost: s and the revision that it had there, and a space.
-- A lapsed lease ends only by whose turn it is now: a node that stood still since it asked may know no more how things are.
-- Returns {revision of the store, then for each call its revision, 0 when it changed nothing, -1 when it was overtaken},
--         or {-1} when the epoch is another. A batch that comes a second time gets the answer of the first.
local meta, records, leases, log, heard, done, evictor = unpack(KEYS)
local node, batch, least, length = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]

-- Nothing is written by halves: a key that is another's is found before the first write, not by the one that it fails.
for at, type in ipairs({'hash', 'hash', 'zset', 'stream', 'hash', 'hash'}) do
  local found = redis.call('TYPE', KEYS[at])['ok']
  if found ~= 'none' and found ~= type then return redis.error_reply('WRONGTYPE ' .. KEYS[at] .. ' is a ' .. found) end
end
local epoch, head, hold_until = unpack(redis.call('HMGET', meta, 'epoch', 'head', 'hold_until'))
if epoch ~= ARGV[3] then return {-1} end
local before = redis.call('HGET', done, node)
if before then
  local answered = cmsgpack.unpack(before)
  if answered.batch == batch then return answered.reply end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local revision = math.max(tonumber(string.match(head, '^%d+')), least)
-- Nor could an entry be entered before one that somebody else has put there.
local beyond = redis.call('XREVRANGE', log, '+', '(' .. string.match(head, '^%d+') .. '-0', 'COUNT', 1)[1]
if beyond then return redis.error_reply('FOREIGN ' .. log .. ' holds an entry ' .. beyond[1] .. ', which is none of ours') end

local function version_of(key)
  local held = redis.call('HGET', records, key)
  return held and tonumber(string.match(held, '^%d+')) or 0
end

local function is_kept(key)
  if redis.call('GET', evictor) ~= node or tonumber(hold_until or 0) > now then return true end
  local deadline = redis.call('ZSCORE', leases, key)
  return deadline and tonumber(deadline) > now
end

-- The nodes that have heard renewals of a lease, the latest last.
local function note_heard(key)
  local nodes = redis.call('HGET', heard, key) or ''
  if not string.find(nodes, node, 1, true) then redis.call('HSET', heard, key, string.sub(nodes .. ' ' .. node, -200)) end
end

local reply, at, calls = {0}, 6, 0
while at <= #ARGV do
  local steps = tonumber(ARGV[at])
  local first, last = at + 1, at + 5 * steps
  local overtaken, versions, changes = false, {}, steps == 0
  for step = first, last, 5 do
    local key, kind = ARGV[step], ARGV[step + 1]
    local version = versions[key] or version_of(key)
    versions[key] = version
    if version ~= tonumber(ARGV[step + 2]) and (version ~= 0 or string.sub(kind, 1, 1) == 'P') then overtaken = true end
  end
  calls = calls + 1
  if overtaken then
    reply[calls + 1] = -1
  else
    local number = string.format('%.0f', revision + 1)
    local token = node .. ' ' .. batch .. '.' .. calls
    local entry = {'prev', head, 'by', token, 'at', string.format('%.0f', now)}
    for step = first, last, 5 do
      local key, kind, lease, body = ARGV[step], ARGV[step + 1], ARGV[step + 3], ARGV[step + 4]
      local said
      if string.sub(kind, 1, 1) == 'P' then
        redis.call('HSET', records, key, number .. ' ' .. body)
        if lease ~= '' then
          -- A registration begins a lease; any other change leaves it as it is.
          if string.sub(kind, 2, 2) == 'r' then redis.call('ZADD', leases, now + lease, key)
          else redis.call('ZADD', leases, 'NX', now + lease, key) end
          note_heard(key)
        end
        versions[key] = revision + 1
        said = kind .. body
      elseif versions[key] ~= 0 and not (string.sub(kind, 2, 2) == 'l' and is_kept(key)) then
        redis.call('HDEL', records, key)
        redis.call('ZREM', leases, key)
        redis.call('HDEL', heard, key)
        versions[key] = 0
        said = kind .. key
      end
      if said then
        changes = true
        entry[#entry + 1] = tostring(#entry)
        entry[#entry + 1] = said
      end
    end
    reply[calls + 1] = 0
    if changes then
      redis.call('XADD', log, 'MAXLEN', '~', length, number .. '-0', unpack(entry))
      revision = revision + 1
      head = number .. ' ' .. token
      reply[calls + 1] = revision
    end
  end
  at = last + 1
end

redis.call('HSET', meta, 'head', head)
reply[1] = tonumber(string.match(head, '^%d+'))
redis.call('HSET', done, node, cmsgpack.pack({batch = batch, reply = reply}))
return reply
