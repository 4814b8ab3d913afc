"""The rules that a user needs in Redis's access control list (redis.io, "ACL"); docs/acl has whole users."""

from __future__ import annotations

KEYS = "~heartbeat:* ~identity:* ~identity-index* ~admin:* ~bots:*"
CHANNELS = "&admin:bot:* &admin:broadcast &identity-changed:*"
BELLS = "+publish +subscribe +unsubscribe"
SCRIPTS = "+eval +evalsha"
# A script is carried out with the rights of its caller.
INSIDE_SCRIPTS = (
    "+del +expire +hdel +hget +hgetall +hmget +hset +llen +lpop +lpush +lrange +ltrim +pexpire +rename "
    "+rpush +time +type +zadd +zrem +zremrangebyscore +zrevrange +zscore"
)
HANDSHAKE = "+client|setname +client|id +client|kill +info +time"
