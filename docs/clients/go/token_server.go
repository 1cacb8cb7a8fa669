// Package tokenserver is a client of token-server that needs nothing but Go's own library.
package tokenserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Client keeps tokens: for a minute at most, and for half of the time that they are valid.
type Client struct {
	Base, APIKey string
	held         sync.Map
}

// Token is what is served; Detail is of a refusal.
type Token struct {
	Token, Detail string
	Generation    int64
	ExpiresIn     int64 `json:"expires_in"` // Milliseconds.
	freshUntil    time.Time
}

// ask opens an answer; it waits out a 503 three times.
func (c *Client) ask(method, path string, body []byte) (io.ReadCloser, error) {
	for tries := 0; ; tries++ {
		request, _ := http.NewRequest(method, c.Base+path, bytes.NewReader(body))
		request.Header.Set("Authorization", "Bearer "+c.APIKey)
		request.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		} else if answer.StatusCode == http.StatusOK {
			return answer.Body, nil
		} else if answer.StatusCode != http.StatusServiceUnavailable || tries == 3 {
			defer answer.Body.Close()
			var problem Token
			_ = json.NewDecoder(answer.Body).Decode(&problem)
			return nil, errors.New(problem.Detail)
		}
		answer.Body.Close()
		wait, _ := time.ParseDuration(answer.Header.Get("Retry-After") + "s")
		time.Sleep(wait)
	}
}

// Token asks for a token, unless the one that is kept is fresh.
func (c *Client) Token(realm, key string) (Token, error) {
	if held, ok := c.held.Load([2]string{realm, key}); ok && time.Now().Before(held.(Token).freshUntil) {
		return held.(Token), nil
	}
	query := url.Values{"realm": {realm}, "key": {key}}
	return c.keep(realm, key)(c.ask("GET", "/api/token?"+query.Encode(), nil))
}
