#!lua flags=allow-oom
-- What the account that we came with may not do. Nothing is done here.
--
-- KEYS: those of the commands, declared
-- ARGV: commands, the words of each apart by a NUL; returns those that are not permitted
-- A server that cannot tell (acl_check_cmd came with Redis 7) is taken to permit all.
local refused = {}
for _, command in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(command, '[^%z]+') do words[#words + 1] = word end
  local told, may = pcall(redis.acl_check_cmd, unpack(words))
  if told and not may then refused[#refused + 1] = command end
end
return refused
