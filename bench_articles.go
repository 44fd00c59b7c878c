package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	articleRounds   = 7    // alternating, so that a noisy moment hits both
	articleRequests = 2000 // a round; a bound, and long enough that the start of a round does not matter
	articleClients  = 4    // at once: twice the cores of the smallest machine we support
)

// benchArticles compares an article page with the same bytes from net/http's
// file server. Both servers and the clients are in this one process, on loopback.
func benchArticles(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	dir, err := os.MkdirTemp("", "drydock-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p, err := openPlatform(ctx, serveOptions{data: filepath.Join(dir, "data")}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ours, stopOurs, err := listenLocal(p.handler)
	if err != nil {
		return nil, err
	}
	defer stopOurs()
	page := ours + "/articles/" + p.articles.Library().Articles[0].Slug
	body, _, err := fetch(ctx, http.DefaultClient, page)
	if err != nil {
		return nil, err
	}
	files := filepath.Join(dir, "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(files, "article.html"), body, 0o644); err != nil {
		return nil, err
	}
	theirs, stopTheirs, err := listenLocal(http.FileServer(http.Dir(files)))
	if err != nil {
		return nil, err
	}
	defer stopTheirs()

	// As many connections as clients: making new ones would be measured, too.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: articleClients}}
	defer client.CloseIdleConnections()
	var rate, rateFile, p99, p99File []float64
	for round := range articleRounds + 1 {
		r1, t1, err := load(ctx, client, page)
		if err != nil {
			return nil, err
		}
		r2, t2, err := load(ctx, client, theirs+"/article.html")
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(progress, "  round %d of %d: %.0f pages/s, file server %.0f/s\n", round, articleRounds, r1, r2)
		if round == 0 {
			continue // the first warms both up
		}
		rate, rateFile = append(rate, r1), append(rateFile, r2)
		p99, p99File = append(p99, t1), append(p99File, t2)
	}
	note := fmt.Sprintf("%d bytes, %d clients, uncompressed, in one process", len(body), articleClients)
	const fileServer = "net/http file server"
	return []measurement{
		measurement{Name: "articles.rps", Value: median(rate), Unit: "1/s", N: articleRounds, Note: note}.against(fileServer, median(rateFile)),
		measurement{Name: "articles.p99", Value: median(p99), Unit: "s", N: articleRounds, Note: note}.against(fileServer, median(p99File)),
	}, nil
}

// listenLocal serves handler on a free port of loopback.
func listenLocal(handler http.Handler) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen on loopback: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}
	go server.Serve(listener) //nolint:errcheck // ends with Close
	return "http://" + listener.Addr().String(), func() { server.Close() }, nil
}

// load sends articleRequests requests and returns their rate per second and
// the 99th percentile of their times in seconds.
func load(ctx context.Context, client *http.Client, url string) (rate, p99 float64, err error) {
	took := make([]float64, articleRequests)
	work := make(chan int)
	errs := make(chan error, articleClients)
	var clients sync.WaitGroup
	began := time.Now()
	for range articleClients {
		clients.Go(func() {
			for i := range work {
				_, d, err := fetch(ctx, client, url)
				if err != nil {
					errs <- err
					return
				}
				took[i] = d.Seconds()
			}
		})
	}
	for i := range articleRequests {
		select {
		case work <- i:
		case err := <-errs:
			close(work)
			return 0, 0, err
		}
	}
	close(work)
	clients.Wait()
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	rate = articleRequests / seconds(began)
	slices.Sort(took)
	return rate, took[len(took)*99/100], nil
}

func fetch(ctx context.Context, client *http.Client, url string) (body []byte, took time.Duration, err error) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("get %s: %w", url, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("get %s: %s", url, response.Status)
	}
	body, err = io.ReadAll(response.Body)
	return body, time.Since(began), err
}
