-- KEYS: a key that does not exist. Runs the commands of the other scripts, without a change.
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, 0)
redis.call('ZADD', KEYS[1], 'XX', 0, 'x')
redis.call('ZCARD', KEYS[1])
redis.call('ZRANGE', KEYS[1], 0, 0)
redis.call('ZSCORE', KEYS[1], 'x')
redis.call('PTTL', KEYS[1])
return redis.call('PEXPIRE', KEYS[1], 1)
