<?php

// The interfaces of EasyWeChat 6 that the adapter implements, by their documented signatures.

namespace EasyWeChat\Kernel\Contracts;

interface AccessToken
{
    public function getToken(): string;

    public function toQuery(): array;
}

interface RefreshableAccessToken extends AccessToken
{
    public function refresh(): string;
}
