// The pages with terminals, in one script: most of it is the terminal.

if (document.getElementById("session")) void import("./lab.ts");
else void import("./kept.ts");
