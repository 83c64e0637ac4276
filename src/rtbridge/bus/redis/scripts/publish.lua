-- Append a publication to a channel's log and tell who watches.
--
-- KEYS  1 receipt: "<number> <position>" of what was published under this key
--       2 log
--       3 history
-- ARGV  1 channel
--       2 kind: h, l or v
--       3 publications to keep
--       4 milliseconds to keep the history; 0: as long as the log
--       5 milliseconds to keep the log
--       6 PUBLISH or SPUBLISH
--       7 where to
--       8 "<cause>\n<data>"
--       9 epoch for a new log
--      10 fence
--      11 number: where the receipt has this or a higher one, it was done already
--      12 milliseconds to keep the receipt
--
-- Promise: returns the position "<epoch>.<offset>". The offset is the log's last plus one; all of it happens or none. The
-- same again, with the same receipt and number, publishes nothing and returns the first one's position.

local receipt = redis.call('GET', KEYS[1])
if receipt and tonumber(string.match(receipt, '^%d+')) >= tonumber(ARGV[11]) then
  return string.match(receipt, '%S+$')
end

local epoch, last, kind = open(KEYS[2], KEYS[3], ARGV[9], ARGV[10])
if kind ~= ARGV[2] then
  redis.call('DEL', KEYS[3]) -- of another kind, perhaps with holes
end
local offset = last + 1
local entry = offset .. ' ' .. ARGV[8]
local position = epoch .. '.' .. offset
save(KEYS[2], epoch, offset, ARGV[2], ARGV[10], ARGV[5])
local size = tonumber(ARGV[3])
if size > 0 then
  local over = redis.call('RPUSH', KEYS[3], entry) - size
  if over == 1 then
    redis.call('LPOP', KEYS[3])
  elseif over > 1 then
    redis.call('LTRIM', KEYS[3], -size, -1)
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[4] == '0' and ARGV[5] or ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[11] .. ' ' .. position, 'PX', ARGV[12])
redis.call(ARGV[6], ARGV[7], ARGV[1] .. '\n' .. epoch .. ' ' .. entry)
return position
