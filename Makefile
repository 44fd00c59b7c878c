# Drydock. `make help` lists what there is to do.

# The one place that names the build tag: SQLite with full-text search.
export GOFLAGS := -tags=sqlite_fts5

DATA  ?= ./data
ADDR  ?= 127.0.0.1:8080
SETUP := sandbox/engine/setup.sh

.DEFAULT_GOAL := help
.PHONY: up down build test chaos check bench image machine container generate diagrams screenshots fmt fuzz clean help

up: ## Install what is missing, build, start Drydock with its node image, print the address
	@$(SETUP) up
	@$(MAKE) --no-print-directory build image
	@bin/drydock serve --background --data $(DATA) --addr $(ADDR)

down: ## Stop Drydock (running sessions are kept for the next `make up`)
	@bin/drydock serve --stop --data $(DATA)

build: ## Build bin/drydock
	@mkdir -p bin
	go build -o bin/drydock .

image: build ## Build the node image (quick when its recipe has not changed)
	@bin/drydock image build

machine: build ## Build what machine labs need where there is no container engine (gVisor)
	@bin/drydock image build --no-engine

container: ## Build drydock/server; with BASE="$$(sandbox/engine/base-images.sh)" where no registry is reached
	docker build -t drydock/server $(BASE) .

check: ## Format, vet, static analysis, generated files fresh, import rules, unit tests: no engine needed
	.ci/check

test: ## Everything, against the real engine and a real browser
	@$(SETUP) up
	@$(MAKE) --no-print-directory image machine
	.ci/test

chaos: ## Kill, fill and take away at random for 100 rounds, and look whether all is in order after each (CHAOS_ROUNDS, CHAOS_SEED; root)
	@$(SETUP) up
	@$(MAKE) --no-print-directory image
	CHAOS_ROUNDS=$${CHAOS_ROUNDS:-100} go test -count=1 -v -run '^TestChaos$$' -timeout 3h .

bench: ## Measure, each figure beside its yardstick in the same run (NAMES="tick articles" for some)
	@$(SETUP) up
	@$(MAKE) --no-print-directory image
	bin/drydock bench $(NAMES)

generate: ## Make the generated code anew: templ views and bundled assets (needs npm)
	go tool templ generate -path web
	go generate ./web/assets

diagrams: ## Render the articles' Mermaid sources to SVG (needs npm and Chromium)
	go run ./content/diagrams

screenshots: ## Make docs/screenshots anew, against the real engine and browser
	@$(SETUP) up
	@$(MAKE) --no-print-directory image
	DRYDOCK_SCREENSHOTS=$(CURDIR)/docs/screenshots go test -count=1 -run '^TestMainJob$$' -timeout 20m .

fuzz: ## Fuzz every parser for a minute each
	.ci/fuzz

fmt: ## Format Go and templ
	gofmt -w $$(git ls-files '*.go')
	go tool templ fmt web

clean: ## Stop Drydock, remove its sandboxes and what was built; the data directory stays
	@if [ -x bin/drydock ] && [ -d $(DATA) ]; then bin/drydock serve --stop --data $(DATA) && bin/drydock sandbox remove --all --data $(DATA); fi
	rm -rf bin

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'
