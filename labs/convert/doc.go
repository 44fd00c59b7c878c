// Package convert makes labs of other platforms' scenarios. It owns what
// `drydock lab import` does, and reads files only: no script of a scenario is
// run here, or anywhere but in a sandbox.
//
// # What is read
//
// A folder, or an archive (tar, tar.gz, zip), with one scenario or many, in
// whatever folders:
//
//	killercoda  folders with an index.json or index.yaml; courses (structure.json)
//	            give titles and tracks. Katacoda's older names are known, too.
//	iximiuz     folders with an index.md whose front matter has a kind
//	instruqt    folders with a track.yml, or with a resource "lab" in a file of HCL
//	educates    folders with resources/workshop.yaml
//
// What stands there is not trusted. Nothing outside of it is read, wherever
// paths and links lead; archives whose entries lead out, that unpack to more
// than 256 MiB or hold more than 50,000 files are refused. Links in archives
// are left out. What is wrong with a file is said with file and line.
//
// # What a scenario becomes
//
// A folder that [labs.LoadLab] reads and `drydock lab lint` accepts:
//
//	lab.yaml               with imported: {from, source}
//	README.md              the introduction, then each step under a heading
//	setup/NN-NAME.sh       files, then background and foreground scripts
//	solutions/draft*.sh    what the text itself shows as a solution
//	manifests/             only where images get other names
//
// The parts, by the names that Killercoda gives them:
//
//   - title, description, difficulty, time: title, summary, level, minutes.
//     Where nothing is said, intermediate, and ten minutes for each step.
//   - backend.imageid: a Kubernetes image is a cluster, of Drydock's own
//     version and of one node; any other is a machine. Of one that is not
//     known, the report says so.
//   - steps with a verify script: tasks, which share the 100 points. The
//     check is the script, given to bash as an argument, every ten seconds (every
//     thirty when it changes the cluster itself); its exit code decides. It
//     has once: true and after the step before, as the platform's button
//     has. When it fails the learner reads what it printed: the lines that
//     complain, or all of them.
//   - steps without one: headings of the text. A scenario in which nothing
//     is checked is refused, since a lab is graded; Options.SelfReported makes
//     questions of such steps, which the learner answers with "done".
//   - background (courseData): a script of the setup. It runs as root in
//     /root with its own interpreter, its output in /var/log/killercoda. How
//     it ended nobody asked on the platform; here it matters only if the
//     script itself says set -e. The setup has five minutes.
//   - foreground (code): left out if it only waits and prints. Otherwise it
//     runs behind the background script, and its lines that change a shell
//     (cd, export, alias, source) are offered as a block to run.
//   - scripts of later steps run before hand-over with the others, since
//     Drydock does not know at which step a learner is; the report says so.
//   - finish: left out. The report of the attempt ends a lab.
//   - assets: scripts of the setup that write the files, with chmod.
//   - answer, and what is folded away as a solution: drafts, see below. What
//     is folded away as a hint is a hint, without cost.
//
// # Text
//
// Markdown is parsed and written anew, with what Drydock's pages know and
// nothing else:
//
//   - a block with {{exec}} or {{execute}} behind it is a ```sh run block. So is
//     code in a line, below its paragraph. T2 becomes "in another
//     terminal", HOST2 "on the machine HOST2", interrupt "press Ctrl-C first".
//   - {{copy}}, {{}}, and {{execute no-newline}} and ctrl-seq, which only type,
//     are plain code.
//   - {{TRAFFIC_HOST1_80}} and the older [[HOST_SUBDOMAIN]]-80-[[KATACODA_HOST]]
//     are the port's address for curl in the terminal: a browser does not
//     reach into a sandbox. Other {{…}}, such as Helm's, stay.
//   - HTML becomes Markdown (emphasis, headings, lists, links, <pre>, <br>),
//     folded parts a bold line and what is below it. What is no HTML but a
//     placeholder, such as <namespace>, is shown as it stands.
//   - a language that the highlighting does not know is text; headings go
//     below the step's; pictures, frames and links to files are left out.
//
// # Where it runs
//
// There the learner is root on a machine that has the cluster. In Drydock the
// terminal is a container beside the cluster, and as little is given as will
// do. What needs only kubectl and files in the own home gets access: cluster.
// The whole node (access: node) is given where the text, a solution or a check
// uses a program or a file of the node, where the learner would be refused
// (nodes, PersistentVolumes, webhooks, privileged pods, kube-system), where
// the text speaks of files that the setup makes, and where a check looks at
// the learner's files outside of the home. Only trusted cohorts can start
// such labs, so the report names the reasons. A scenario on a plain machine that
// needs root gets a node, too.
//
// /root is /home/learner where the learner is not root, and the node
// controlplane is lab-control-plane. What the setup leaves in /tmp for a check is
// in /var/tmp: a node's /tmp is empty when it has been stopped.
//
// A check runs on the node, out of the learner's reach (as root, with an
// administrator's kubectl), unless it looks at files of the learner's terminal: then
// it runs there, as the learner, who can read it while it runs and
// change what it sees. The report says which ones do ("forgeable"). No script is
// left in a sandbox as a file. Who has the node can forge anything on it.
//
// # Images
//
// The cluster pulls nothing. Names of images are looked for in manifests,
// scripts and the text; for those that the node lacks
//
//   - busybox of any version is the node's;
//   - for alpine stands busybox, for nginx and httpd busybox's web server on
//     port 80 with their folders and pages, made at setup ("stand-in"): good for
//     everything about pods, not for nginx's own configuration;
//   - Options.Images (--image NAME=REF) names another one that the node has;
//   - others stay missing ("image").
//
// The node gets the names as further ones of what it has, so scripts, text and checks
// hold as they are; and an admission policy keeps kubelet from asking a registry
// for an image without a tag. An image that only the setup of a scenario
// about broken images names is left missing.
//
// # Drafts
//
// The commands and manifests that the text folds away as a solution, or else those
// that a click runs, make solutions/draft.sh; another way that it shows makes a
// second one. Manifests go to the file that the next command names, or to
// kubectl apply. Commands that need somebody at the keyboard are commented out.
// Nobody has tried drafts, and nobody but an author can say what a wrong fix would
// be: so an imported lab needs neither, and is listed as a draft as long as it lacks
// two solutions and a wrong fix (see package labs). `drydock lab test` runs
// what is there.
//
// # The other formats
//
// iximiuz: a task with run is a check, its output that of hintcheck when it
// fails; init tasks are the setup. The text is parted where tasks are shown. An
// input of the page is a file that the learner writes. hint-box is a hint, solution*.md
// are ways to a draft. What another task printed can't be passed on, helpers
// and failcheck are left out.
//
// instruqt: a challenge is a step, check-HOST its check (fail-message ends it,
// as there), solve-HOST the draft, setup-HOST the setup, a quiz a
// question. Only the host that most checks are of is there.
//
// Of a lab in HCL, each page that the lab's chapters list is a step, in their order; the first task or
// question of a page belongs to its step, each further one is a step of its own.
// A condition's check scripts are checks (failure_message comes behind what they print; directory, environment
// and time limit hold as there), its solve scripts the draft, its setup scripts and exec resources the
// setup, kubernetes_config applies manifests. Modules are followed into folders of
// what is imported. Nothing is calculated: text is read where it stands as text, as a default of a
// variable or as file("…"); what is known only when a lab runs there is left out, and said.
//
// educates: a page is a step; examiner:execute-test is its check, with its
// arguments; execute blocks are run blocks; setup.d and the session's objects are
// the setup. Forms, dashboards and editor actions are left out.
//
// # Report
//
// For each scenario there is a [Report]: what was converted how, what the
// lab can do less well ([Kind] lists the kinds), what was left out; or why it
// was refused. What is found in scripts is found by reading them, so a warning may be
// missing or too many.
package convert
