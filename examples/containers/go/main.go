// The same model in Go: a whole model server of the Open Inference Protocol, in JSON, with the standard library.
package main

import (
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type object = map[string]any

type tensor struct {
	Name     string
	Datatype string
	Shape    []int
	Data     []float64
}

// Radius of the Earth in nautical miles.
const radius = 6371.0 / 1.852

func distance(from, to []float64) float64 {
	radians := math.Pi / 180
	north := math.Pow(math.Sin((to[0]-from[0])*radians/2), 2)
	east := math.Pow(math.Sin((to[1]-from[1])*radians/2), 2)
	return 2 * radius * math.Asin(math.Sqrt(north+math.Cos(from[0]*radians)*math.Cos(to[0]*radians)*east))
}

func infer(w http.ResponseWriter, r *http.Request) {
	var body struct{ Inputs []tensor }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		reply(w, 400, object{"error": "the body is no inference request: " + err.Error()})
		return
	}
	inputs := map[string]tensor{}
	for _, input := range body.Inputs {
		if input.Datatype != "FP64" || len(input.Shape) != 2 || input.Shape[1] != 2 || len(input.Data) != 2*input.Shape[0] {
			reply(w, 400, object{"error": "input " + input.Name + ": expected FP64 of shape [n, 2]"})
			return
		}
		inputs[input.Name] = input
	}
	from, to := inputs["from"], inputs["to"]
	if from.Shape == nil || to.Shape == nil || from.Shape[0] != to.Shape[0] {
		reply(w, 400, object{"error": "expected the inputs from and to, with as many rows each"})
		return
	}
	miles := make([]float64, from.Shape[0])
	for row := range miles {
		miles[row] = distance(from.Data[2*row:2*row+2], to.Data[2*row:2*row+2])
	}
	output := object{"name": "miles", "datatype": "FP64", "shape": []int{len(miles)}, "data": miles}
	reply(w, 200, object{"outputs": []object{output}})
}

func main() {
	name := env("WINDJAMMER_MODEL_NAME", "model")
	place := []int{-1, 2}
	answers := map[string]any{
		"/v2":                           object{"name": "distance", "version": "1", "extensions": []string{}},
		"/v2/health/live":               object{"live": true},
		"/v2/health/ready":              object{"ready": true},
		"/v2/models/" + name + "/ready": object{"ready": true},
		"/v2/models/" + name: object{
			"name": name,
			"inputs": []object{
				{"name": "from", "datatype": "FP64", "shape": place},
				{"name": "to", "datatype": "FP64", "shape": place},
			},
			"outputs": []object{{"name": "miles", "datatype": "FP64", "shape": []int{-1}}},
		},
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if answer, found := answers[r.URL.Path]; found {
			reply(w, 200, answer)
		} else if r.Method == "POST" && r.URL.Path == "/v2/models/"+name+"/infer" {
			infer(w, r)
		} else {
			reply(w, 404, object{"error": "unknown path " + r.URL.Path})
		}
	})
	listener, err := listen()
	if err != nil {
		panic(err)
	}
	serve(listener)
}

// Windjammer names a Unix socket, or a port.
func listen() (net.Listener, error) {
	if path := os.Getenv("WINDJAMMER_SOCKET"); path != "" {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", env("WINDJAMMER_HOST", "0.0.0.0")+":"+env("PORT", "8080"))
}

// Until SIGTERM; what has arrived by then is answered.
func serve(listener net.Listener) {
	server := &http.Server{}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go server.Serve(listener)
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server.Shutdown(ctx)
}

func env(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
