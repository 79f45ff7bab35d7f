-- Reads rows.
--
-- KEYS: those of the rows.
-- ARGV: the fields.
-- Answer: the fields of each row.

local answer = {}
for i, key in ipairs(KEYS) do
  answer[i] = redis.call('HMGET', key, unpack(ARGV))
end
return answer
