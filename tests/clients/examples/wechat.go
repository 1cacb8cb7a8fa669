// Does by the adapter for silenceper/wechat what driver.py does by the client: `token` and `call`.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"example/credential"
	tokenserver "example/tokenserver"
	wechathandle "example/wechathandle"
)

var errRefused = errors.New("refused")

func main() {
	client := &tokenserver.Client{Base: os.Getenv("BASE"), APIKey: os.Getenv("API_KEY")}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		adapter := &wechathandle.Handle{Client: client, Realm: words[1], Key: words[2]}
		var handle credential.AccessTokenContextHandle = adapter
		text, err := "", error(nil)
		if words[0] == "token" {
			text, err = handle.GetAccessToken()
		} else {
			err = adapter.Call(func() (err error) {
				text, err = ask(handle, words[3])
				return err
			}, func(err error) bool { return errors.Is(err, errRefused) })
		}
		if err != nil {
			text = "error: " + err.Error()
		}
		fmt.Println(text)
	}
}

// What the SDK does for a call.
func ask(handle credential.AccessTokenHandle, url string) (string, error) {
	token, err := handle.GetAccessToken()
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	if reply.StatusCode == 401 {
		return "", errRefused
	}
	text := bufio.NewScanner(reply.Body)
	text.Scan()
	return text.Text(), nil
}
