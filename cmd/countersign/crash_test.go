package main

import "github.com/countersign/countersign/internal/carrier"

const crashRole = "crash"

func reportingCarrier(c carrier.Carrier) carrier.Carrier { return c }
