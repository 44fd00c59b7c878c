package grade

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	aDeployment = &Watch{APIVersion: "example.com/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	somePods    = &Watch{Kind: "Pod", Namespace: "shop", Selector: "app=web"}
	aRequest    = &HTTP{From: "shop", URL: "http://web.shop/healthz"}
	aCommand    = &Exec{On: "node", Command: []string{"true"}}
)

// TestProblems: an author is told what is wrong, where, and what was probably meant.
func TestProblems(t *testing.T) {
	tests := map[string]struct {
		check Check
		want  []string
	}{
		"no id":              {Check{Watch: aDeployment, That: "true"}, []string{"the check has no id"}},
		"bad id":             {Check{ID: "Web Ready", Watch: aDeployment, That: "true"}, []string{`the id "Web Ready" is not made of`}},
		"no collector":       {Check{ID: "a", That: "true"}, []string{"the check has 0 collectors"}},
		"two collectors":     {Check{ID: "a", Watch: aDeployment, HTTP: aRequest, That: "true"}, []string{"the check has 2 collectors"}},
		"no condition":       {Check{ID: "a", Watch: aDeployment}, []string{"the check has no condition"}},
		"syntax":             {Check{ID: "a", Watch: aDeployment, That: "object.a =="}, []string{"that: Syntax error: mismatched input the end (at character 12"}},
		"typo in a variable": {Check{ID: "a", Watch: aDeployment, That: "objct.a == 1"}, []string{`unknown name "objct"; did you mean "object"?`}},
		"typo in a function": {Check{ID: "a", Watch: somePods, That: "sze(objects) == 1"}, []string{`unknown name "sze"; did you mean "size"?`}},
		"typo in a field":    {Check{ID: "a", HTTP: aRequest, That: "response.cod == 200"}, []string{`response has no field "cod"; did you mean "code"?`}},
		"unknown field":      {Check{ID: "a", Exec: aCommand, That: "result.pid == 200"}, []string{`result has no field "pid"; it is one of code, stderr, stdout`}},
		"other variable":     {Check{ID: "a", HTTP: aRequest, That: "object.a == 1"}, []string{`there is no "object" in this check; what it sees is "response"`}},
		"not a condition":    {Check{ID: "a", HTTP: aRequest, That: "response.code"}, []string{`gives a value of type int; a condition must be true or false`}},
		"types":              {Check{ID: "a", HTTP: aRequest, That: "response.code == '200'"}, []string{"no matching overload for '==' applied to '(int, string)'"}},
		"regular expression": {Check{ID: "a", HTTP: aRequest, That: "response.body.matches('(')"}, []string{"invalid matches argument"}},
		"too long":           {Check{ID: "a", HTTP: aRequest, That: "true || " + strings.Repeat(" ", maxExpression) + "true"}, []string{"characters long"}},
		"else":               {Check{ID: "a", Watch: aDeployment, That: "true", Else: "it has ${object.spec.replicas"}, []string{"else: ${ without its }"}},
		"else, expression":   {Check{ID: "a", Watch: aDeployment, That: "true", Else: "it has ${objet.a} and ${1 +}"}, []string{`else: unknown name "objet"`, "else: Syntax error"}},
		"hold":               {Check{ID: "a", Watch: aDeployment, That: "true", Hold: Duration(time.Hour)}, []string{"hold is 1h0m0s; it can be at most 30m0s"}},
		"all at once": {Check{ID: "A", HTTP: &HTTP{URL: "ftp://x", Every: Duration(time.Millisecond), Method: "get"}, That: "respons.code"},
			[]string{"the id", "every is 1ms", "is no http or https URL", `"respons"`}},

		"kind":            {Check{ID: "a", Watch: &Watch{Kind: "Deploymnet", Namespace: "shop"}, That: "true"}, []string{`"Deploymnet" is no kind of Kubernetes itself; did you mean "Deployment"?`}},
		"no kind":         {Check{ID: "a", Watch: &Watch{}, That: "true"}, []string{"watch has no kind"}},
		"no namespace":    {Check{ID: "a", Watch: &Watch{Kind: "Pod", Name: "x"}, That: "true"}, []string{"a Pod is in a namespace; name it"}},
		"needless":        {Check{ID: "a", Watch: &Watch{Kind: "Node", Namespace: "x"}, That: "true"}, []string{"a Node is in no namespace"}},
		"apiVersion":      {Check{ID: "a", Watch: &Watch{APIVersion: "a/b/c", Kind: "Pod"}, That: "true"}, []string{`apiVersion "a/b/c" is not of the form`}},
		"selector":        {Check{ID: "a", Watch: &Watch{Kind: "Pod", Selector: "a=b=c"}, That: "true"}, []string{`the selector "a=b=c" cannot be read`}},
		"name, selector":  {Check{ID: "a", Watch: &Watch{Kind: "Pod", Namespace: "shop", Name: "x", Selector: "a=b"}, That: "true"}, []string{"both a name and a selector"}},
		"bad namespace":   {Check{ID: "a", Watch: &Watch{Kind: "Pod", Namespace: "Shop!"}, That: "true"}, []string{`"Shop!" cannot be the name of a namespace`}},
		"no url":          {Check{ID: "a", HTTP: &HTTP{From: "shop"}, That: "true"}, []string{"http has no url"}},
		"header":          {Check{ID: "a", HTTP: &HTTP{From: "shop", URL: "http://x", Header: map[string]string{"X": "a\r\nY: b"}}, That: "true"}, []string{"is no header of HTTP"}},
		"body":            {Check{ID: "a", HTTP: &HTTP{From: "shop", URL: "http://x", Body: strings.Repeat("x", maxRequestBody+1)}, That: "true"}, []string{"at most 32768 are sent"}},
		"place":           {Check{ID: "a", Exec: &Exec{On: "nod", Command: []string{"x"}}, That: "true"}, []string{`on is "nod"; did you mean "node"?`}},
		"pod":             {Check{ID: "a", Exec: &Exec{On: "pod", Command: []string{"x"}}, That: "true"}, []string{"needs its namespace and a selector"}},
		"node, selector":  {Check{ID: "a", Exec: &Exec{On: "node", Selector: "a=b", Command: []string{"x"}}, That: "true"}, []string{"only for on: pod"}},
		"no command":      {Check{ID: "a", Exec: &Exec{On: "node"}, That: "true"}, []string{"exec has no command"}},
		"logs":            {Check{ID: "a", Logs: &Logs{Namespace: "shop", Tail: 2000}, That: "logs[0].txt == ''"}, []string{"needs the namespace of the pods and a selector", "tail is 2000", `logs has no field "txt"; did you mean "text"?`}},
		"fine: logs":      {Check{ID: "a", Logs: &Logs{Namespace: "shop", Selector: "a=b"}, That: "logs.all(l, l.text.contains(l.pod))"}, nil},
		"fine":            {Check{ID: "a", Watch: aDeployment, That: "object.status.readyReplicas == 2"}, nil},
		"fine: dyn":       {Check{ID: "a", Watch: aDeployment, That: "object.spec.paused"}, nil},
		"fine: libraries": {Check{ID: "a", Watch: aDeployment, That: "quantity(object.a).isGreaterThan(quantity('1Gi')) && ip(object.b).family() == 4 && semver(object.c).major() == 1 && object.d.find('[0-9]+') == '1' && url(object.e).getHost() == 'x'"}, nil},
		"fine: vars":      {Check{ID: "a", HTTP: &HTTP{From: "${vars.ns}", URL: "http://${vars.host}:${vars.port}/"}, That: "response.body == vars.want"}, nil},
		"fine: shell":     {Check{ID: "a", Exec: &Exec{On: "node", Command: []string{"sh", "-c", "echo ${HOME} $${x}"}}, That: "result.stdout != ''"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.check.Line = 17
			set, problems := Compile([]Check{test.check})
			if (set == nil) != (len(test.want) > 0) || len(problems) != len(test.want) {
				t.Fatalf("problems %v, want %q", problems, test.want)
			}
			for i, p := range problems {
				if !strings.Contains(p.Msg, test.want[i]) || p.Line != 17 || p.Check != test.check.ID {
					t.Errorf("problem %d is %+v, want %q in line 17", i, p, test.want[i])
				}
			}
		})
	}
}

func TestSameID(t *testing.T) {
	_, problems := Compile([]Check{{ID: "a", Watch: aDeployment, That: "true", Line: 3}, {ID: "a", Watch: aDeployment, That: "true", Line: 9}})
	if len(problems) != 1 || problems[0].Line != 9 || problems[0].String() != "check a: the id is already that of the check in line 3" {
		t.Errorf("problems are %v", problems)
	}
}

func TestVars(t *testing.T) {
	set := mustCompile(t,
		Check{HTTP: &HTTP{From: "shop", URL: "http://${vars.host}/", Header: map[string]string{"X": "${vars.token}"}}, That: `response.body == vars.body || vars["other"] == "x"`},
		Check{Exec: &Exec{On: "node", Command: []string{"echo", "${vars.host}"}}, That: "true", Else: "want ${vars.hint}"},
	)
	if got, want := set.Vars(), []string{"body", "hint", "host", "other", "token"}; !slices.Equal(got, want) {
		t.Errorf("vars are %q, want %q", got, want)
	}
}

// TestYAML: checks are read as labs have them.
func TestYAML(t *testing.T) {
	var check Check
	err := yaml.Unmarshal([]byte(`{id: a, http: {from: shop, url: "http://web/", every: 500ms}, that: response.code == 200, hold: 10s}`), &check)
	if err != nil || time.Duration(check.Hold) != 10*time.Second || time.Duration(check.HTTP.Every) != 500*time.Millisecond {
		t.Errorf("read %+v, %v", check, err)
	}
	for bad, want := range map[string]string{"10": `"10" is not a duration such as`, "-1s": `"-1s" is negative`, "soon": "is not a duration"} {
		if err := yaml.Unmarshal([]byte(`{hold: "`+bad+`"}`), &check); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("hold %s: %v, want %s", bad, err, want)
		}
	}
}

func TestAsk(t *testing.T) {
	ask := &Ask{Text: "Which?", Accept: []string{" wait-for-db ", "/(the )?init container [0-9]+/", "${vars.host}", "/${vars.host}:\\d+/"}}
	if problems := ask.Problems(); problems != nil {
		t.Fatal(problems)
	}
	vars := map[string]string{"host": "db.shop"}
	for answer, want := range map[string]bool{
		"wait-for-db": true, "  WAIT-for-db\n": true, "wait for db": false, "": false, "  ": false,
		"init container 12": true, "The Init Container 3": true, "init container": false, "x init container 1": false, "init container 1\nno": false,
		"db.shop": true, "DB.shop": true, "dbxshop": false, "db.shop:80": true, "dbxshop:80": false, "${vars.host}": false,
		strings.Repeat("wait", maxAnswer): false,
	} {
		if got := ask.Right(answer, vars); got != want {
			t.Errorf("%q is right: %v, want %v", shorten(answer, 40), got, want)
		}
	}
	if ask.Right("${vars.host}", nil) || ask.Right("", nil) {
		t.Error("a variant without the var takes an answer for it")
	}
	if got := ask.Vars(); !slices.Equal(got, []string{"host"}) {
		t.Errorf("vars are %q", got)
	}
}

func TestAskKinds(t *testing.T) {
	vars := map[string]string{"port": "5432", "init": "wait-for-db"}
	port := &Ask{Text: "?", Number: &Number{Is: "${vars.port}"}}
	latency := &Ask{Text: "?", Number: &Number{Is: "250", Within: "5%", Unit: "ms"}}
	load := &Ask{Text: "?", Number: &Number{Is: "0.3", Within: "0.1"}}
	typed := &Ask{Text: "?", All: []string{"${vars.init}", "/migrat(e|ions)/", "web"}}
	chosen := &Ask{Text: "?", All: []string{"a, b", "${vars.init}"}, Choices: []string{"a, b", "wait-for-db", "c"}}
	tests := []struct {
		ask    *Ask
		answer string
		want   bool
	}{
		{port, "5432", true}, {port, " 5432.0 ", true}, {port, "5433", false}, {port, "5432 ms", false}, {port, "NaN", false}, {port, "Inf", false}, {port, "", false}, {port, "0x1538", false},
		{latency, "250", true}, {latency, "250ms", true}, {latency, "262.5 ms", true}, {latency, "237,5", true}, {latency, "262.6", false}, {latency, "-250", false}, {latency, "250 s", false},
		{load, "0.4", true}, {load, "0.2", true}, {load, "0.41", false},
		{typed, "web, migrate, wait-for-db", true}, {typed, "Wait-for-DB\nmigrations\nweb\nweb", true}, {typed, "web, migrate", false}, {typed, "web, migrate, wait-for-db, api", false},
		{typed, strings.Repeat("web,", 40) + "migrate,wait-for-db", false},
		{chosen, "a, b\nwait-for-db", true}, {chosen, "wait-for-db\na, b", true}, {chosen, "a, b", false}, {chosen, "a, b\nwait-for-db\nc", false},
	}
	for _, test := range tests {
		if problems := test.ask.Problems(); problems != nil {
			t.Fatal(problems)
		}
		if got := test.ask.Right(test.answer, vars); got != test.want {
			t.Errorf("%+v: %q is right: %v, want %v", test.ask, shorten(test.answer, 60), got, test.want)
		}
	}
	for _, ask := range []*Ask{port, latency, load, chosen} {
		if samples := ask.Samples(vars); len(samples) != 1 || !ask.Right(samples[0], vars) {
			t.Errorf("the samples of %+v are %q", ask, samples)
		}
	}
	if samples := typed.Samples(vars); samples != nil {
		t.Errorf("a question that takes a regular expression gives the samples %q", samples)
	}
	if got := (&Ask{Choices: []string{"${vars.init}", "c"}}).ChoicesIn(vars); !slices.Equal(got, []string{"wait-for-db", "c"}) {
		t.Errorf("the choices are %q", got)
	}
}

func TestAskProblems(t *testing.T) {
	tests := map[string]struct {
		ask  Ask
		want []string
	}{
		"empty":    {Ask{}, []string{"no text", "accepts no answer"}},
		"regexp":   {Ask{Text: "?", Accept: []string{"/(/"}}, []string{"is not a regular expression"}},
		"anything": {Ask{Text: "?", Accept: []string{"/.*/"}}, []string{"takes an empty answer"}},
		"blank":    {Ask{Text: "?", Accept: []string{" "}}, []string{"is empty"}},
		"choices":  {Ask{Text: "?", Accept: []string{"tpc"}, Choices: []string{"TCP", "UDP"}}, []string{`none of the choices; did you mean "TCP"?`}},
		"one":      {Ask{Text: "?", Accept: []string{"tcp"}, Choices: []string{"TCP"}}, []string{"at least two"}},
		"two ways": {Ask{Text: "?", Accept: []string{"1"}, Number: &Number{Is: "1"}}, []string{"more than one of"}},
		"number":   {Ask{Text: "?", Number: &Number{Is: "many", Within: "1"}}, []string{`is: "many" is no number`}},
		"within":   {Ask{Text: "?", Number: &Number{Is: "1", Within: "some"}}, []string{`within: "some" is neither`}},
		"chosen":   {Ask{Text: "?", Number: &Number{Is: "1"}, Choices: []string{"1", "2"}}, []string{"has no choices"}},
		"alone":    {Ask{Text: "?", All: []string{"1"}}, []string{"all names 1 things"}},
		"comma":    {Ask{Text: "?", All: []string{"1", "2, 3"}}, []string{"has a comma"}},
		"twice":    {Ask{Text: "?", Accept: []string{"tcp"}, Choices: []string{"TCP", "tcp "}}, []string{"is there twice"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.ask.Line = 4
			problems := test.ask.Problems()
			if len(problems) != len(test.want) {
				t.Fatalf("problems %v, want %q", problems, test.want)
			}
			for i, p := range problems {
				if !strings.Contains(p.Msg, test.want[i]) || p.Line != 4 {
					t.Errorf("problem is %+v, want %q", p, test.want[i])
				}
			}
		})
	}
}
