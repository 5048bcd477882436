module github.com/atoll-dcn/atoll

go 1.26
