// Package bench measures a learner's program against a lab's baseline, side by
// side in one run, and checks its results on inputs that the learner never saw.
// It runs as root on a machine; the program is `drydock-probe bench`, which
// reads a [Spec] and prints a [Report].
//
// # Method
//
// In each round a fresh input is made and both programs get it, one right after
// the other. Which one is first changes with every round (A B, B A, A B, …), so
// that what grows or ebbs on the machine meanwhile falls on both. What counts is
// the ratio of the two times in a round, learner to baseline: what slows the
// machine down for seconds slows both. The first round fills caches and is not
// counted. The result is the median of the ratios, which a few disturbed rounds
// do not move, with a confidence interval of 95 % from order statistics, which
// assumes nothing about how the ratios are distributed: J.-Y. Le Boudec,
// Performance Evaluation of Computer and Communication Systems, EPFL Press, 2010,
// chapter 2, the confidence interval for a median. No fewer than six rounds give
// one. When it is narrow enough the measurement ends; that it may end early makes
// the interval slightly less sure than it says.
//
// Processor time is that of a program with all the processes it starts, those
// included that have left it, without what is done before it begins. It is what
// to measure where other things run on the same processors. On gVisor it is
// counted in steps of 10 ms, and what the host gives to others meanwhile is in
// it: inputs should keep the baseline busy for some tenths of a second, and the
// interval says how much can be told.
//
// # What the learner's program can and cannot do
//
// Both programs and the generator of inputs run with the bounds of a command
// that the learner types ([drydock/sandbox/machine/boot.Confine]); the lab's as a
// user of their own ([User]), from directories that nobody else can open. So the
// learner's processes cannot read the lab's files, trace or signal its programs,
// or see an input before their own program gets it. Root measures, compares and
// prints the result. Whatever a program has started is killed when it ends,
// before the other one runs.
//
// The learner's program can notice that it is measured, and behave otherwise
// than in the terminal. It can remember inputs and its answers in files; inputs
// are random, so that this helps only where there are few. It can see how the
// baseline is called, as all command lines are public. Other processes of the
// learner's can compete with the baseline for processors and caches, or do the
// program's work for it: where others on the machine were busy beside one of the
// two programs and not beside the other, the measurement is refused (see [Report.Error]).
package bench
