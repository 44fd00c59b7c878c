package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"drydock/content"
)

const (
	articleRounds   = 7    // alternating, so that a noisy moment hits both
	articleRequests = 2000 // a round; a bound, and long enough that the start of a round does not matter
	articleClients  = 4    // at once: twice the cores of the smallest machine we support
)

// libraryArticles is how many articles the library of the benchmark has: copies
// of those that come with Drydock, each a little different.
const libraryArticles = 2000

// benchArticles measures a start with many articles, and compares their pages with
// the same bytes from net/http's file server. Both servers and the clients are in
// this one process, on loopback.
func benchArticles(ctx context.Context, progress io.Writer) (_ []measurement, err error) {
	dir, err := os.MkdirTemp("", "drydock-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tracks := filepath.Join(dir, "tracks")
	if err := copyArticles(tracks, libraryArticles); err != nil {
		return nil, err
	}
	all, err := benchLoading(tracks, progress)
	if err != nil {
		return nil, err
	}
	p, err := openPlatform(ctx, serveOptions{data: filepath.Join(dir, "data"), contentDir: tracks}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ours, stopOurs, err := listenLocal(p.handler)
	if err != nil {
		return nil, err
	}
	defer stopOurs()
	files := filepath.Join(dir, "files")
	if err := os.MkdirAll(files, 0o755); err != nil {
		return nil, err
	}
	var pages, same []string
	fmt.Fprintf(progress, "  rendering %d articles\n", libraryArticles)
	for _, a := range p.articles.Library().Articles {
		body, _, err := fetch(ctx, http.DefaultClient, ours+"/articles/"+a.Slug)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(files, a.Slug+".html"), body, 0o644); err != nil {
			return nil, err
		}
		pages, same = append(pages, ours+"/articles/"+a.Slug), append(same, "/"+a.Slug+".html")
	}
	theirs, stopTheirs, err := listenLocal(http.FileServer(http.Dir(files)))
	if err != nil {
		return nil, err
	}
	defer stopTheirs()
	for i := range same {
		same[i] = theirs + same[i]
	}
	all = append(all, measurement{Name: "articles.memory", Value: heap(), Unit: "MiB", N: 1,
		Note: fmt.Sprintf("heap of the server with %d articles, all of them rendered once", libraryArticles)})
	served, err := benchPages(ctx, progress, pages, same)
	return append(all, served...), err
}

// benchLoading measures what a start waits for: reading and checking all articles.
func benchLoading(tracks string, progress io.Writer) ([]measurement, error) {
	labSet, err := loadLabs("")
	if err != nil {
		return nil, err
	}
	var took, memory, again []float64
	for round := range articleRounds {
		before := heap()
		began := time.Now()
		opened, err := openArticles(tracks, labSet, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		took = append(took, seconds(began))
		memory = append(memory, heap()-before)
		library := opened.Library()
		began = time.Now()
		if _, err := library.Reload(os.DirFS(tracks)); err != nil {
			return nil, err
		}
		again = append(again, seconds(began))
		fmt.Fprintf(progress, "  round %d of %d: %d articles in %.2f s\n", round+1, articleRounds, libraryArticles, took[round])
	}
	note := fmt.Sprintf("%d articles are read and checked, on all cores", libraryArticles)
	return []measurement{
		{Name: "articles.start", Value: median(took), Unit: "s", N: articleRounds, Note: note},
		{Name: "articles.reload", Value: median(again), Unit: "s", N: articleRounds, Note: "the same, when nothing has changed"},
		{Name: "articles.library", Value: median(memory), Unit: "MiB", N: articleRounds, Note: "memory of that library before a page is asked for"},
	}, nil
}

// heap is what is in use, in MiB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// copyArticles makes a folder of so many articles of those that come with Drydock.
func copyArticles(to string, count int) error {
	if err := os.CopyFS(to, content.Embedded()); err != nil {
		return fmt.Errorf("copy the articles: %w", err)
	}
	library, err := content.Load(content.Embedded())
	if err != nil {
		return err
	}
	for i := len(library.Articles); i < count; i++ {
		a := library.Articles[i%len(library.Articles)]
		source, err := fs.Sub(content.Embedded(), a.Dir)
		if err != nil {
			return err
		}
		folder := filepath.Join(to, fmt.Sprintf("%s-%d", a.Dir, i))
		if err := os.CopyFS(folder, source); err != nil {
			return fmt.Errorf("copy an article: %w", err)
		}
		text, err := fs.ReadFile(source, "index.md")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "index.md"), fmt.Appendf(text, "\nCopy %d.\n", i), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// benchPages alternates between our pages and the same bytes from a file server.
func benchPages(ctx context.Context, progress io.Writer, pages, same []string) ([]measurement, error) {
	// As many connections as clients: making new ones would be measured, too.
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: articleClients}}
	defer client.CloseIdleConnections()
	var rate, rateFile, p99, p99File []float64
	for round := range articleRounds + 1 {
		r1, t1, err := load(ctx, client, pages)
		if err != nil {
			return nil, err
		}
		r2, t2, err := load(ctx, client, same)
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
	note := fmt.Sprintf("%d articles in turn, %d clients, uncompressed, in one process", len(pages), articleClients)
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
func load(ctx context.Context, client *http.Client, urls []string) (rate, p99 float64, err error) {
	took := make([]float64, articleRequests)
	work := make(chan int)
	errs := make(chan error, articleClients)
	var clients sync.WaitGroup
	began := time.Now()
	for range articleClients {
		clients.Go(func() {
			for i := range work {
				_, d, err := fetch(ctx, client, urls[i%len(urls)])
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
