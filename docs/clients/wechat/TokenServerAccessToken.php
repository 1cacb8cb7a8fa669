<?php

use EasyWeChat\Kernel\Contracts\RefreshableAccessToken;

/** Has EasyWeChat 6 take an access token from token-server. */
class TokenServerAccessToken implements RefreshableAccessToken
{
    public function __construct(private TokenUse $server, private string $realm, private string $key) {}

    public function getToken(): string
    {
        return $this->server->token($this->realm, $this->key)['token'];
    }

    public function toQuery(): array
    {
        return ['access_token' => $this->getToken()];
    }

    /** EasyWeChat calls it where WeChat refuses the token, and `http.retry` is on. */
    public function refresh(): string
    {
        $generation = $this->server->token($this->realm, $this->key)['generation'];
        return $this->server->refused($this->realm, $this->key, $generation)['token'];
    }
}
