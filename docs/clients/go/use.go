package tokenserver

import (
	"bufio"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"time"
)

func (c *Client) keep(realm, key string) func(io.ReadCloser, error) (Token, error) {
	return func(answer io.ReadCloser, err error) (held Token, _ error) {
		if err != nil {
			return held, err
		}
		defer answer.Close()
		if err = json.NewDecoder(answer).Decode(&held); err == nil {
			half := time.Duration(held.ExpiresIn) * time.Millisecond / 2
			if half > time.Minute {
				half = time.Minute
			}
			held.freshUntil = time.Now().Add(half)
			c.held.Store([2]string{realm, key}, held)
		}
		return held, err
	}
}

// WithToken calls the provider; once more, with another token, where it refuses this one.
func (c *Client) WithToken(realm, key string, call func(token string) (refused bool, err error)) error {
	held, err := c.Token(realm, key)
	if err != nil {
		return err
	}
	refused, err := call(held.Token)
	if refused {
		report, _ := json.Marshal(map[string]any{"realm": realm, "key": key, "generation": held.Generation})
		if held, err = c.keep(realm, key)(c.ask("POST", "/api/token/report", report)); err == nil {
			_, err = call(held.Token)
		}
	}
	return err
}

// Watch tells each token as it comes; call it again when it returns.
func (c *Client) Watch(realm, key string, tell func(Token) (more bool)) error {
	query := url.Values{"realm": {realm}, "key": {key}, "include": {"token"}}
	answer, err := c.ask("GET", "/api/token/watch?"+query.Encode(), nil)
	for lines := bufio.NewScanner(answer); err == nil && lines.Scan(); {
		if data := strings.TrimPrefix(lines.Text(), "data: "); data != lines.Text() {
			held, _ := c.keep(realm, key)(io.NopCloser(strings.NewReader(data)), nil)
			if !tell(held) {
				return answer.Close()
			}
		}
	}
	return err
}
