<?php

/** Uses tokens: replaces one that the provider refuses, and waits for the next. */
class TokenUse extends TokenServer
{
    /** Calls the provider; once more, with another token, where it refuses this one. */
    public function withToken(string $realm, string $key, callable $call): mixed
    {
        $held = $this->token($realm, $key);
        [$refused, $result] = $call($held['token']);
        if ($refused) {
            [, $result] = $call($this->refused($realm, $key, $held['generation'])['token']);
        }
        return $result;
    }

    /** Reports that the provider refused a token; another one. */
    public function refused(string $realm, string $key, int $generation): array
    {
        $name = ['realm' => $realm, 'key' => $key];
        $answer = $this->ask('/api/token/report', $name + ['generation' => $generation]);
        return $this->keep($name, stream_get_contents($answer));
    }

    /** Each token as it comes; to be called again when it ends. */
    public function watch(string $realm, string $key): Generator
    {
        $name = ['realm' => $realm, 'key' => $key];
        $events = $this->ask('/api/token/watch?' . http_build_query($name + ['include' => 'token']));
        while (($line = fgets($events)) !== false) {
            if (str_starts_with($line, 'data: ')) {
                yield $this->keep($name, substr($line, strlen('data: ')));
            }
        }
    }
}
