<?php

// Does by the adapter for EasyWeChat what driver.py does by the client: `token` and `call`.

require __DIR__ . '/contracts.php';
require __DIR__ . '/TokenServer.php';
require __DIR__ . '/TokenUse.php';
require __DIR__ . '/TokenServerAccessToken.php';

$server = new TokenUse(getenv('BASE'), getenv('API_KEY'));

/** What EasyWeChat does for a call. */
function ask(EasyWeChat\Kernel\Contracts\RefreshableAccessToken $token, string $url): string
{
    foreach ([true, false] as $again) {
        $http = ['ignore_errors' => true, 'header' => 'Authorization: Bearer ' . $token->toQuery()['access_token']];
        $text = file_get_contents($url, false, stream_context_create(['http' => $http]));
        if (!$again || !str_contains($http_response_header[0], ' 401')) {
            return $text;
        }
        $token->refresh();
    }
}

while (($line = fgets(STDIN)) !== false) {
    [$command, $realm, $key, $url] = explode(' ', rtrim($line, "\n")) + [3 => ''];
    $token = new TokenServerAccessToken($server, $realm, $key);
    try {
        echo $command === 'token' ? $token->getToken() : ask($token, $url), "\n";
    } catch (RuntimeException $error) {
        echo 'error: ', $error->getMessage(), "\n";
    }
}
