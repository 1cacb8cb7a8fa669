// Does with the client of docs/clients what a test says; driver.py lists the commands.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	tokenserver "example/tokenserver"
)

func main() {
	client := &tokenserver.Client{Base: os.Getenv("BASE"), APIKey: os.Getenv("API_KEY")}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := answer(client, strings.Fields(lines.Text())); err != nil {
			fmt.Println("error:", err)
		}
	}
}

func answer(client *tokenserver.Client, words []string) error {
	realm, key := words[1], words[2]
	switch words[0] {
	case "token":
		held, err := client.Token(realm, key)
		if err == nil {
			fmt.Println(held.Token)
		}
		return err
	case "call":
		var text []byte
		err := client.WithToken(realm, key, func(token string) (bool, error) {
			request, err := http.NewRequest("GET", words[3], nil)
			if err != nil {
				return false, err
			}
			request.Header.Set("Authorization", "Bearer "+token)
			reply, err := http.DefaultClient.Do(request)
			if err != nil {
				return false, err
			}
			defer reply.Body.Close()
			text, err = io.ReadAll(reply.Body)
			return reply.StatusCode == 401, err
		})
		if err == nil {
			fmt.Println(string(text))
		}
		return err
	default:
		left, err := strconv.Atoi(words[3])
		if err != nil {
			return err
		}
		return client.Watch(realm, key, func(held tokenserver.Token) bool {
			fmt.Println(held.Generation)
			left--
			return left > 0
		})
	}
}
