-- Writes a batch: all of it if everything is still as it was read, else nothing.
--
-- KEYS: 1 identity, 2 mark of the writer, 3 cursor, 4 changes; then those that checks and commands name by number.
-- ARGV: 1 identity, 2 mark, 3 ids of changed jobs, 4 how many changes are kept, 5 number of checks;
--       then checks (kind, expected, count, numbers of keys) and commands (name, number of key, count, arguments).
-- Answer: {'replaced'}, {'moved', number of key} or {'kept', cursor}.

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return {'replaced'}
end

-- The connection was lost after this batch was written, and before its writer knew.
if redis.call('GET', KEYS[2]) == ARGV[2] then
  return {'kept', tonumber(redis.call('GET', KEYS[3]) or 0)}
end

local function holds(kind, expected, keys)
  if kind == 'row' then
    return (redis.call('HGET', keys[1], 'v') or '') == expected
  elseif kind == 'text' then
    return (redis.call('GET', keys[1]) or '') == expected
  end
  local count = 0
  for _, key in ipairs(keys) do
    count = count + redis.call('ZCARD', key)
  end
  return count <= tonumber(expected)
end

local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local keys = {}
  for i = 1, tonumber(ARGV[at + 2]) do
    keys[i] = KEYS[tonumber(ARGV[at + 2 + i])]
  end
  if not holds(ARGV[at], ARGV[at + 1], keys) then
    return {'moved', tonumber(ARGV[at + 3])}
  end
  at = at + 3 + #keys
end

while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at + 2])
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, last))
  at = last + 1
end

redis.call('SET', KEYS[2], ARGV[2], 'EX', 86400)
if ARGV[3] == '' then
  return {'kept', tonumber(redis.call('GET', KEYS[3]) or 0)}
end
local cursor = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], cursor .. '-0', 'ids', ARGV[3])
return {'kept', cursor}
