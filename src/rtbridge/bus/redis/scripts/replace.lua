-- Store a record if the one that is there has an expected value.
--
-- KEYS  1 record
-- ARGV  1 expected value
--       2 value
--       3 milliseconds to keep it
--
-- Promise: returns 1 if it was stored, else 0 and nothing was changed.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
