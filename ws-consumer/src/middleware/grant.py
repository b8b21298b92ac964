import base64, hashlib, hmac, time

def grant(group, seconds, key, secret, user=""):
    b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    text = f"{group}:{int(time.time()) + seconds}:{key}:{b64(user.encode())}"
    return f"{text}:{b64(hmac.digest(secret, b'channels.grant:' + text.encode(), hashlib.sha256))}"
