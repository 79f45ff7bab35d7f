-- Drops pieces of a job's bodies that nobody needs any more.
--
-- KEYS: 1 the pieces, as fields 'attempt:index'.
-- ARGV: 1 first attempt, 2 last attempt, 3 how many pieces of the last attempt stay; then fields that stay.

local stay = {}
for i = 4, #ARGV do
  stay[ARGV[i]] = true
end
local first, last, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local attempt, index = string.match(field, '^(%d+):(-?%d+)$')
  attempt, index = tonumber(attempt), tonumber(index)
  local is_kept = attempt == last and index >= 0 and index < kept
  if attempt >= first and attempt <= last and not is_kept and not stay[field] then
    redis.call('HDEL', KEYS[1], field)
  end
end
