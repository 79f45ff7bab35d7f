-- Writes a batch: all of it if everything is still as it was read, else nothing.
--
-- KEYS: 1 identity, 2 mark of the writer, 3 cursor, 4 changes; then those that checks and commands name by number.
-- ARGV: 1 the batch, packed: {identity, mark, ids of changed jobs, how many changes are kept, whether it needs room,
--       checks, commands}, with checks {kind, expected, numbers of keys} and commands {name, number of key, arguments};
--       then the records and bodies that checks and arguments name by number.
-- Answer: {'replaced'}, {'moved'} or {'kept', cursor}.

local identity, mark, changed, kept, needs_room, checks, commands = unpack(cmsgpack.unpack(ARGV[1]))

if redis.call('GET', KEYS[1]) ~= identity then
  return {'replaced'}
end

-- The connection was lost after this batch was written, and before its writer knew.
if redis.call('GET', KEYS[2]) == mark then
  return {'kept', tonumber(redis.call('GET', KEYS[3]) or 0)}
end

local function holds(kind, expected, numbers)
  if kind == 'row' then
    if type(expected) == 'number' then
      expected = ARGV[expected]
    end
    return (redis.call('HGET', KEYS[numbers[1]], 'v') or '') == expected
  elseif kind == 'text' then
    return (redis.call('GET', KEYS[numbers[1]]) or '') == expected
  end
  local count = 0
  for _, number in ipairs(numbers) do
    count = count + redis.call('ZCARD', KEYS[number])
  end
  return count <= expected
end

for _, check in ipairs(checks) do
  if not holds(unpack(check)) then
    return {'moved'}
  end
end

-- A server whose memory is full refuses a script if the first thing that it writes may need some, and nothing after
-- that. PERSIST needs none, and does nothing here.
if not needs_room then
  redis.call('PERSIST', KEYS[1])
end

-- What may fail comes before the rest, as nothing is taken back: the log of changes, if it is damaged.
local cursor
if changed == '' then
  cursor = tonumber(redis.call('GET', KEYS[3]) or 0)
else
  cursor = redis.call('INCR', KEYS[3])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', kept, cursor .. '-0', 'ids', changed)
end
redis.call('SET', KEYS[2], mark, 'EX', 86400)

for _, command in ipairs(commands) do
  local name, number, arguments = unpack(command)
  for i, argument in ipairs(arguments) do
    if type(argument) == 'number' then
      arguments[i] = ARGV[argument]
    end
  end
  redis.call(name, KEYS[number], unpack(arguments))
end
return {'kept', cursor}
