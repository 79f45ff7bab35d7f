-- Reads what a claim chooses from: early jobs that are due, and the first ready jobs of every queue, with their rows.
--
-- KEYS: 1 early, 2 names of queues.
-- ARGV: 1 now, 2 most early jobs, 3 most ready jobs of a queue, 4 and 5 what the keys of a queue's ready and running
--       jobs begin with, 6 what the key of a row begins with; then the fields of a row.
-- Answer: {early jobs, queues}; a queue is {name, ready jobs, number of running ones}, a job {id, score, fields}.

local fields = {unpack(ARGV, 7)}

local function jobs(found)
  local answer = {}
  for i = 1, #found, 2 do
    answer[#answer + 1] = {found[i], found[i + 1], redis.call('HMGET', ARGV[6] .. found[i], unpack(fields))}
  end
  return answer
end

local early = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local queues = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local ready = redis.call('ZRANGE', ARGV[4] .. name, 0, tonumber(ARGV[3]) - 1, 'WITHSCORES')
  queues[#queues + 1] = {name, jobs(ready), redis.call('ZCARD', ARGV[5] .. name)}
end
return {jobs(early), queues}
