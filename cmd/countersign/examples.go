package main

import (
	"strings"

	"github.com/alecthomas/kong"
)

// examples are lines that people type, by command: --help and the manual show them. Commands whose help explains more
// have theirs there.
var examples = map[string][]string{
	"dev":                 {`countersign dev --data ~/countersign-dev`},
	"serve":               {`countersign serve --config /etc/countersign/countersign.yaml`},
	"config print":        {`countersign config print --config countersign.yaml`},
	"config example":      {`countersign config example --preset vonage > countersign.yaml`},
	"config preset":       {`countersign config preset twilio > api.yaml`},
	"config schema":       {`countersign config schema > countersign.schema.json`},
	"keyset create":       {`countersign keyset create keyset.json`},
	"keyset list":         {`countersign keyset list keyset.json`},
	"keyset add":          {`countersign keyset add keyset.json`},
	"keyset promote":      {`countersign keyset promote keyset.json 1037402704`},
	"keyset remove":       {`countersign keyset remove keyset.json 2696049842`},
	"secret create":       {`countersign secret create gateway.secret`},
	"secret vapid":        {`countersign secret vapid vapid.pem`},
	"project create":      {`countersign project create "My shop"`, `countersign project create --profile standard --country US --country CA "My shop"`},
	"project list":        {`countersign project list --json`},
	"project show":        {`countersign project show "My shop"`},
	"project policy":      {`countersign project policy --send-burst 3 --country US "My shop"`},
	"project rename":      {`countersign project rename "My shop" "Our shop"`},
	"project topup":       {`countersign project topup shop 50 --note "invoice 1043"`},
	"project correct":     {`countersign project correct shop --take 2.50 --note "paid twice"`},
	"project ledger":      {`countersign project ledger shop`},
	"key create":          {`countersign key create --project "My shop" --name web --scope verify:start --scope verify:check`},
	"key list":            {`countersign key list --project "My shop"`},
	"key rename":          {`countersign key rename 01a20020-9496-7aaf-afab-f184fd9d6ef9 "web, until June"`},
	"key revoke":          {`countersign key revoke 01a20020-9496-7aaf-afab-f184fd9d6ef9`},
	"operator create":     {`countersign operator create ann --role admin --url https://console.example.com`},
	"operator list":       {`countersign operator list`},
	"operator show":       {`countersign operator show ann`},
	"operator role":       {`countersign operator role bob support --project "My shop"`},
	"operator reset":      {`countersign operator reset bob`},
	"operator remove":     {`countersign operator remove bob`},
	"operator sessions":   {`countersign operator sessions bob`},
	"operator sign-out":   {`countersign operator sign-out bob`},
	"application list":    {`countersign application list --project "My shop"`},
	"application show":    {`countersign application show --project "My shop" default`},
	"application set":     {`countersign application set --project "My shop" --locale pt-BR default`},
	"route explain":       {`countersign route explain +12025550100`},
	"carrier test":        {`countersign carrier test twilio +12025550100`},
	"carrier resume":      {`countersign carrier resume twilio`},
	"country allow":       {`countersign country allow LK`},
	"country list":        {`countersign country list`},
	"destination show":    {`countersign destination show --project "My shop" +12025550100`},
	"destination reset":   {`countersign destination reset --project "My shop" +12025550100`, `countersign destination reset --project "My shop" --sends +12025550100`},
	"verify":              {`countersign verify --purpose login +12025550100`},
	"verification show":   {`countersign verification show 01a222b3-2d3a-7a50-8253-ab6f23e140e0`},
	"verification cancel": {`countersign verification cancel 01a222b3-2d3a-7a50-8253-ab6f23e140e0`},
	"verification resend": {`countersign verification resend 01a222b3-2d3a-7a50-8253-ab6f23e140e0`},
	"user list":           {`countersign user list --application 01a20001-6a64-717b-aab1-8ad86b1658e8`},
	"user show":           {`countersign user show --application 01a20001-6a64-717b-aab1-8ad86b1658e8 ada`},
	"user associate":      {`countersign user associate --application 01a20001-6a64-717b-aab1-8ad86b1658e8 ada +12025550100`},
	"user devices":        {`countersign user devices --application 01a20001-6a64-717b-aab1-8ad86b1658e8 ada`},
	"user remove":         {`countersign user remove --application 01a20001-6a64-717b-aab1-8ad86b1658e8 ada`},
	"user import":         {`countersign user import --application 01a20001-6a64-717b-aab1-8ad86b1658e8 users.csv`},
	"user prompts":        {`countersign user prompts --application 01a20001-6a64-717b-aab1-8ad86b1658e8 ada`},
	"template list":       {`countersign template list`},
	"template show":       {`countersign template show login`},
	"template change":     {`countersign template change login --file texts.json`},
	"template delete":     {`countersign template delete login`},
	"audit list":          {`countersign audit list --limit 20`},
	"audit export":        {`countersign audit export > audit.jsonl`},
	"bench":               {`countersign bench --project shop`},
	"backup":              {`countersign backup backup.db`},
	"restore":             {`countersign restore backup.db`},
	"void":                {`countersign void`},
	"status":              {`countersign status`},
	"completion":          {`countersign completion bash > /etc/bash_completion.d/countersign`},
	"help":                {`countersign help key create`, `countersign help --man man`},
	"version":             {`countersign version`},
	"migrate move":        {`countersign migrate --from sqlite:data --to postgres:countersign.yaml`},
	"migrate schema":      {`countersign migrate schema`},
}

// explain adds the examples to each command's help.
func explain(commands *kong.Node) {
	for _, leaf := range leavesOf(commands) {
		lines := examples[strings.TrimPrefix(leaf.FullPath(), program+" ")]
		if len(lines) == 0 {
			continue
		}
		leaf.Detail = strings.TrimPrefix(leaf.Detail+"\n\nFor example:\n\n  "+strings.Join(lines, "\n  "), "\n\n")
	}
}
