// Every public call of go-chassis/sc-client, for a test to make: PORT HOST:PORT [ACCOUNT PASSWORD].
//
// It proves what a Go program on this library gets from a ServiceCenter, call by call. POST /call/{Method} with the
// arguments as a JSON list answers what the call returned, the error last, as text. A callback is given as null: GET
// /told lists what callbacks were told. An option of a call is given by its name. GET /methods names all calls.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync"

	"github.com/go-chassis/cari/rbac"
	sc "github.com/go-chassis/sc-client"
)

var options = map[string]sc.CallOption{
	"WithGlobal":      sc.WithGlobal(),
	"WithoutRevision": sc.WithoutRevision(),
}

func main() {
	settings := sc.Options{Endpoints: []string{os.Args[2]}}
	if len(os.Args) > 4 {
		settings.EnableAuth = true
		settings.AuthUser = &rbac.AuthUser{Username: os.Args[3], Password: os.Args[4]}
	}
	client, err := sc.NewClient(settings)
	if err != nil {
		log.Fatal(err)
	}
	tried := &tried{calls: reflect.ValueOf(client), told: [][]any{}}
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/methods", func(w http.ResponseWriter, _ *http.Request) { answer(w, tried.methods()) })
	http.HandleFunc("/told", func(w http.ResponseWriter, _ *http.Request) { answer(w, tried.toldSoFar()) })
	http.HandleFunc("/call/", func(w http.ResponseWriter, r *http.Request) {
		var arguments []json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&arguments); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		results, err := tried.call(strings.TrimPrefix(r.URL.Path, "/call/"), arguments)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, results)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}

type tried struct {
	calls reflect.Value
	mutex sync.Mutex
	told  [][]any
}

func (t *tried) methods() []string {
	names := make([]string, 0, t.calls.NumMethod())
	for i := 0; i < t.calls.NumMethod(); i++ {
		names = append(names, t.calls.Type().Method(i).Name)
	}
	return names
}

func (t *tried) toldSoFar() [][]any {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return append([][]any{}, t.told...)
}

func (t *tried) call(name string, arguments []json.RawMessage) ([]any, error) {
	method := t.calls.MethodByName(name)
	if !method.IsValid() {
		return nil, fmt.Errorf("sc-client has no call %s", name)
	}
	given := make([]reflect.Value, 0, len(arguments))
	for i, argument := range arguments {
		value, err := t.argument(name, method.Type(), i, argument)
		if err != nil {
			return nil, fmt.Errorf("argument %d of %s: %w", i, name, err)
		}
		given = append(given, value)
	}
	results := []any{}
	for _, result := range method.Call(given) {
		results = append(results, shown(result.Interface()))
	}
	return results, nil
}

func (t *tried) argument(name string, method reflect.Type, i int, argument json.RawMessage) (reflect.Value, error) {
	if method.IsVariadic() && i >= method.NumIn()-1 {
		var option string
		err := json.Unmarshal(argument, &option)
		return reflect.ValueOf(options[option]), err
	}
	if kind := method.In(i); kind.Kind() == reflect.Func {
		return reflect.MakeFunc(kind, func(told []reflect.Value) []reflect.Value {
			t.note(name, told)
			return nil
		}), nil
	}
	value := reflect.New(method.In(i))
	err := json.Unmarshal(argument, value.Interface())
	return value.Elem(), err
}

func (t *tried) note(name string, told []reflect.Value) {
	note := []any{name}
	for _, one := range told {
		note = append(note, one.Interface())
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.told = append(t.told, note)
}

func shown(result any) any {
	switch value := result.(type) {
	case error:
		return value.Error()
	case []byte:
		return string(value)
	}
	return result
}

func answer(w http.ResponseWriter, value any) {
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}
