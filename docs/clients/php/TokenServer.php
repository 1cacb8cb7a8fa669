<?php

/** A client of token-server that needs nothing but PHP 8.2 itself. */
class TokenServer
{
    private const KEEP_S = 60; // A token that was replaced before its time is used for no longer.
    private array $held = [];

    public function __construct(private string $base, private string $apiKey) {}

    /** Opens an answer; waits out a 503 three times. */
    protected function ask(string $path, ?array $body = null)
    {
        $http = [
            'method' => $body === null ? 'GET' : 'POST', 'ignore_errors' => true, 'timeout' => 20,
            'header' => ["Authorization: Bearer $this->apiKey", 'Content-Type: application/json'],
        ] + ($body === null ? [] : ['content' => json_encode($body)]);
        for ($triesLeft = 3; ; $triesLeft--) {
            $answer = fopen($this->base . $path, 'r', false, stream_context_create(['http' => $http]));
            $head = implode("\n", stream_get_meta_data($answer)['wrapper_data']);
            if (preg_match('~^HTTP/\S+ 200~', $head)) {
                return $answer;
            }
            if (!preg_match('~^HTTP/\S+ 503~', $head) || $triesLeft === 0) {
                throw new RuntimeException(json_decode(stream_get_contents($answer), true)['detail']);
            }
            sleep(preg_match('~^Retry-After: (\d+)~mi', $head, $wait) ? min((int) $wait[1], 30) : 1);
        }
    }

    protected function keep(array $name, string $json): array
    {
        $held = json_decode($json, true, flags: JSON_THROW_ON_ERROR);
        // For a minute at most, and for half of the time that it is valid.
        $held['fresh_until'] = hrtime(true) + min(self::KEEP_S, $held['expires_in'] / 2000) * 1e9;
        return $this->held[implode("\n", $name)] = $held;
    }

    public function token(string $realm, string $key): array
    {
        $name = ['realm' => $realm, 'key' => $key];
        $held = $this->held[implode("\n", $name)] ?? ['fresh_until' => 0];
        return hrtime(true) < $held['fresh_until'] ? $held
            : $this->keep($name, stream_get_contents($this->ask('/api/token?' . http_build_query($name))));
    }
}
