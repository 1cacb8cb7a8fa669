<?php

// Does with the client of docs/clients what a test says; driver.py lists the commands.

require __DIR__ . '/TokenServer.php';
require __DIR__ . '/TokenUse.php';

$server = new TokenUse(getenv('BASE'), getenv('API_KEY'));

function answer(TokenUse $server, string $command, string $realm, string $key, string ...$rest): void
{
    if ($command === 'token') {
        echo $server->token($realm, $key)['token'], "\n";
    } elseif ($command === 'call') {
        echo $server->withToken($realm, $key, function (string $token) use ($rest) {
            $http = ['ignore_errors' => true, 'header' => "Authorization: Bearer $token"];
            $text = file_get_contents($rest[0], false, stream_context_create(['http' => $http]));
            return [str_contains($http_response_header[0], ' 401'), $text];
        }), "\n";
    } else {
        $left = (int) $rest[0];
        foreach ($server->watch($realm, $key) as $held) {
            echo $held['generation'], "\n";
            if (--$left === 0) {
                break;
            }
        }
    }
}

while (($line = fgets(STDIN)) !== false) {
    try {
        answer($server, ...explode(' ', rtrim($line, "\n")));
    } catch (RuntimeException $error) {
        echo 'error: ', $error->getMessage(), "\n";
    }
}
