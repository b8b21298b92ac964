-- KEYS: message key. ARGV: score, scores up to which messages have expired, lifetime in ms, capacity, member.
-- Returns 1 when it was added, 0 when the channel is full.
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
