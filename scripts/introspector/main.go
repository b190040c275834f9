// Command introspector tells Dovecot whose an access token is, as an OAuth provider would
// (RFC 7662). Tests make the tokens themselves, without asking anybody: a token is
// rig.USER@DOMAIN.EXPIRY, its expiry in seconds since 1970.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: introspector ADDRESS")
	}
	http.HandleFunc("POST /introspect", introspect)
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

func introspect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"active": false}
	if user, expires, ok := read(r.FormValue("token")); ok && expires.After(time.Now()) {
		answer = map[string]any{"active": true, "email": user, "exp": expires.Unix()}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

func read(token string) (user string, expires time.Time, ok bool) {
	token, ok = strings.CutPrefix(token, "rig.")
	at := strings.LastIndexByte(token, '.')
	if !ok || at < 0 {
		return "", time.Time{}, false
	}
	seconds, err := strconv.ParseInt(token[at+1:], 10, 64)
	return token[:at], time.Unix(seconds, 0), err == nil
}
