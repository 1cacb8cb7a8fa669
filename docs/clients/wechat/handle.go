// Package wechathandle has silenceper/wechat take an access token from token-server.
package wechathandle

import (
	"context"

	tokenserver "example/tokenserver"
)

// Handle is an AccessTokenHandle, and an AccessTokenContextHandle of later versions.
type Handle struct {
	Client     *tokenserver.Client
	Realm, Key string
}

// GetAccessToken is called before each call of WeChat.
func (h *Handle) GetAccessToken() (string, error) {
	held, err := h.Client.Token(h.Realm, h.Key)
	return held.Token, err
}

// GetAccessTokenContext does the same; the client has its own limits.
func (h *Handle) GetAccessTokenContext(context.Context) (string, error) {
	return h.GetAccessToken()
}

// Call calls WeChat; once more, with another token, where that refuses this one.
func (h *Handle) Call(call func() error, isRefused func(error) bool) error {
	return h.Client.WithToken(h.Realm, h.Key, func(string) (bool, error) {
		err := call()
		return err != nil && isRefused(err), err
	})
}
