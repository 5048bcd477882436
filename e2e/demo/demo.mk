# The demo; included by the Makefile.

## Demo

STORE ?= ceph

.PHONY: demo
demo: ## Show it: one image, three Ceph clusters, one UUID (STORE=file: on sparse files, without root)
	@STORE='$(STORE)' e2e/demo/demo.sh

.PHONY: demo-down
demo-down: ## Stop the demo and free its disk
	@e2e/demo/down.sh
