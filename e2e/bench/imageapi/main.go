// Command imageapi measures the hub's Image API: how many requests a second it answers at 1 and at 32 clients, how long they
// take, and what CPU time they cost the hub. It prints a table in Markdown.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"time"
)

func main() {
	target := flag.String("target", "127.0.0.1:9292", "address of the Image API")
	token := flag.String("token", "bench", "token to send")
	pid := flag.Int("hub-pid", 0, "process of the hub")
	images := flag.Int("images", 100_000, "how many images there are before measuring")
	seconds := flag.Int("seconds", 8, "how long each measurement takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{target: *target, token: *token, pid: *pid}
	if err := b.run(ctx, *images, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "imageapi:", err)
		os.Exit(1)
	}
}

// bench is one hub and the images that it has.
type bench struct {
	target string
	token  string
	pid    int
	ids    []string
}

// work is one kind of request.
type work struct {
	name string
	code int
	make func(b *bench) (method, path, kind, body string)
}

var works = []work{
	{"list, page of 100", 200, func(b *bench) (string, string, string, string) {
		return "GET", "/v2/images?limit=100&marker=" + b.any(), "", ""
	}},
	{"show", 200, func(b *bench) (string, string, string, string) { return "GET", "/v2/images/" + b.any(), "", "" }},
	{"patch", 200, func(b *bench) (string, string, string, string) {
		return "PATCH", "/v2/images/" + b.any(), "application/openstack-images-v2.1-json-patch",
			fmt.Sprintf(`[{"op":"replace","path":"/os_version","value":"%d"}]`, rand.IntN(1000))
	}},
	{"create", 201, func(*bench) (string, string, string, string) {
		return "POST", "/v2/images", "application/json", record(rand.IntN(1000))
	}},
}

// load is how many clients there are and how long each waits from the beginning of a request to that of the next.
type load struct {
	name    string
	clients int
	pause   time.Duration // 0: none, as fast as they can
}

// The third load leaves the CPU room, so that its times are the hub's and not those of a queue.
var loads = []load{{"1", 1, 0}, {"32", 32, 0}, {"32, 1,000/s in all", 32, 32 * time.Millisecond}}

// any returns the id of some image.
func (b *bench) any() string { return b.ids[rand.IntN(len(b.ids))] }

// record is an image as users have them.
func record(n int) string {
	return fmt.Sprintf(`{"name":"image-%d","disk_format":"raw","container_format":"bare","visibility":"public","min_disk":10,"min_ram":512,`+
		`"tags":["t%d"],"os_distro":"debian","os_version":"12","architecture":"x86_64","hw_disk_bus":"scsi","hw_scsi_model":"virtio-scsi"}`, n, n%10)
}

func (b *bench) run(ctx context.Context, images int, duration time.Duration) error {
	began := time.Now()
	if err := b.fill(ctx, images); err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Fprintf(os.Stderr, "%d images created in %.0f s, %.0f a second\n", len(b.ids), took.Seconds(), float64(len(b.ids))/took.Seconds())
	fmt.Println("| request | clients | requests/s | p50 ms | p99 ms | CPU s of the hub per 1,000 | requests per CPU second of the hub |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, w := range works {
		for _, l := range loads {
			r, err := b.measure(ctx, w, l, duration)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			fmt.Printf("| %s | %s | %.0f | %.2f | %.2f | %.3f | %.0f |\n", w.name, l.name, r.rate, r.p50, r.p99, r.cpu*1000, 1/r.cpu)
		}
	}
	return nil
}
