-- KEYS: group key. ARGV: score, lifetime in ms, channel.
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
