-- Put before add, replace, hold and release: what must not be carried out twice when nobody knows whether it was.
--
-- KEYS  the last one: receipt, "<number> <answer>" of what was last done at the caller's place
-- ARGV  the last but one: number; where the receipt has this or a higher one, it was done already
--       the last one: milliseconds to keep the receipt
--
-- Answers are texts: `-` for none, `=` and a value, or 0 and 1.

local function earlier()
  local receipt = redis.call('GET', KEYS[#KEYS])
  local number, answer
  if receipt then
    number, answer = string.match(receipt, '^(%d+) (.*)$')
  end
  return number and tonumber(number) >= tonumber(ARGV[#ARGV - 1]) and answer
end

local function answer(text)
  redis.call('SET', KEYS[#KEYS], ARGV[#ARGV - 1] .. ' ' .. text, 'PX', ARGV[#ARGV])
  return text
end

local done = earlier()
if done then
  return done
end

