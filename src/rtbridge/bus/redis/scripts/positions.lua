-- Where logs stand. A log that has no epoch gets one; all get a new lease of life.
--
-- KEYS  1 log, 2 history, 3 log, 4 history, ... (all in one hash slot)
-- ARGV  1 milliseconds to keep a log
--       2 fence
--       3... an epoch for each log, should it be new
--
-- Promise: returns "<epoch>.<offset>" for each log. Each lives at least ARGV[1] from now.

local ttl = tonumber(ARGV[1])
local answer = {}
for i = 1, #KEYS, 2 do
  local log, history = KEYS[i], KEYS[i + 1]
  local epoch, last, kind, new = open(log, history, ARGV[2 + (i + 1) / 2], ARGV[2])
  if new then
    save(log, epoch, last, kind, ARGV[2], 1)
  end
  renew(log, history, kind, ttl)
  answer[#answer + 1] = epoch .. '.' .. last
end
return answer
