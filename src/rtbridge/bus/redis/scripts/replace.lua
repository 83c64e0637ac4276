-- Store a record if the one that is there has an expected value. See once.lua, too.
--
-- KEYS  1 record
-- ARGV  1 expected value
--       2 value
--       3 milliseconds to keep it
--
-- Promise: answers 1 if it was stored, else 0 and nothing was changed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return answer('0')
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return answer('1')
