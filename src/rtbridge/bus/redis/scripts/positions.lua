-- Where logs stand. A log that has no epoch gets one; all get a new lease of life.
--
-- KEYS  1 log, 2 history, 3 log, 4 history, ... (all in one hash slot)
-- ARGV  1 milliseconds to keep a log
--       2 fence
--       3... an epoch for each log, should it be new
--
-- Promise: returns "<epoch>.<offset>" for each log. Each lives at least ARGV[1] from now. Most calls write nothing: a
-- renewal lasts a little longer than asked, and the next one waits until that little is over.

local ttl = tonumber(ARGV[1])
local longer = string.format('%.0f', ttl + math.floor(ttl / 64))
local answer = {}
for i = 1, #KEYS, 2 do
  local epoch, last, kind, new = open(KEYS[i], KEYS[i + 1], ARGV[2 + (i + 1) / 2], ARGV[2])
  if new then
    save(KEYS[i], epoch, last, kind, ARGV[2], longer)
  elseif redis.call('PTTL', KEYS[i]) < ttl then
    redis.call('PEXPIRE', KEYS[i], longer)
  end
  answer[#answer + 1] = epoch .. '.' .. last
end
return answer
