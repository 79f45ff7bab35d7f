-- What wrk sends, and what it says at the end: one line that a program can read.
-- Arguments: method, body (or an empty text), milliseconds to wait before each request on the average.

local pause = 0

function init(args)
  wrk.method = args[1]
  if args[2] ~= "" then
    wrk.body = args[2]
    wrk.headers["Content-Type"] = "application/json"
  end
  pause = tonumber(args[3])
  if pause == 0 then
    delay = nil
  end
end

function delay()
  return math.random(0, 2 * pause)
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format(
    "deferit %d %d %d %d %d %d",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
