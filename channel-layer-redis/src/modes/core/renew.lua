-- KEYS: group key. ARGV: score, lifetime in ms, channel. A membership that has been removed is not restored.
redis.call('ZADD', KEYS[1], 'XX', ARGV[1], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
