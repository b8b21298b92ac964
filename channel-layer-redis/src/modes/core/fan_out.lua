-- KEYS: message keys. ARGV: score, scores up to which messages have expired, lifetime in ms, then a capacity and a
-- member for each key. Returns the indices of the keys that were full.
local full = {}
for at, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, 0, ARGV[2])
  if redis.call('ZCARD', key) < tonumber(ARGV[2 + 2 * at]) then
    redis.call('ZADD', key, ARGV[1], ARGV[3 + 2 * at])
    redis.call('PEXPIRE', key, ARGV[3])
  else
    full[#full + 1] = at
  end
end
return full
